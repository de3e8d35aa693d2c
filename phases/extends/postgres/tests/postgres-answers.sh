#!/bin/sh
# The database answers the habitat's user without a password, by its socket and by TCP.

set -e
psql --version
psql --command 'CREATE TABLE habitat_test (n int); DROP TABLE habitat_test'
psql --host localhost --command 'SELECT 1'
