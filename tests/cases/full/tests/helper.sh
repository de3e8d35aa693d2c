said_by_helper() { echo helped; }
