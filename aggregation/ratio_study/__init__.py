"""What a method scores at each train ratio, as data."""
