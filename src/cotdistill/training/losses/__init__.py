"""What a student is trained towards, token by token."""
