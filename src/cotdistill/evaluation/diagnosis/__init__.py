"""Why an evaluation came out as it did."""
