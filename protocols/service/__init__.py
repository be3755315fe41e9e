"""A service that runs sessions over HTTPS, and the loop of those who take part."""
