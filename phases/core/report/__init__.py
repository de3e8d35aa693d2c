"""What the program tells about habitats without changing them: plan, status, disk usage."""
