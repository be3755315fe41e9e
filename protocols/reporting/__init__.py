"""Reports for people: one HTML page, one canvas for pictures."""
