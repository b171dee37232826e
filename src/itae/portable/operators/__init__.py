"""What each operator costs on each device."""
