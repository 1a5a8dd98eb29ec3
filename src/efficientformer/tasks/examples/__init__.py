"""Images that a network was scored on, drawn with what it found: the best and the worst of them."""
