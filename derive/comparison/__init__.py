"""Two cells side by side: what differs, whether they compute the same, how gradients flow."""
