"""The teacher's next-token distributions, from wherever they come."""
