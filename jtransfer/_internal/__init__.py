"""Ground that every room stands on and no user calls."""
