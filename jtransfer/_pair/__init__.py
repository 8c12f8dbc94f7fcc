"""What `jtransfer pair` computes and writes."""
