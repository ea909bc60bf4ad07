"""What one worker process does for all, now and then: it counts, forgets, and reads again what older versions wrote."""
