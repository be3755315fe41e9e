"""What a client contributes: named vectors, and how they are encoded."""
