"""What people see of a service: pages for its operator and for whoever takes part, without anything that is secret."""
