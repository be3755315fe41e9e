"""What every protocol is made of, and what knows none of them."""
