"""What `jtransfer tasks` computes and writes."""
