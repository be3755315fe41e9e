"""Every decoder under bytes that nobody sane would send: `make fuzz`."""
