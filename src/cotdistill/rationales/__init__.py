"""What a rationale shows by itself: its equations, its faults, its length."""
