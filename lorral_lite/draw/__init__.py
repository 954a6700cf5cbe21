"""Pictures: data in, a matplotlib Figure with a text alternative out."""
