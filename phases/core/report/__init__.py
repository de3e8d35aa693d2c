"""Reports about habitats, which change nothing: plan, status, disk usage."""
