"""What can be said of a rationale by itself: its equations, its faults, its length."""
