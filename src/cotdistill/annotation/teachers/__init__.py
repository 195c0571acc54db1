"""Teachers: who writes rationales."""
