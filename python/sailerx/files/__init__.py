"""Write files atomically: under a temporary name first, renamed once complete."""
