"""What decode_latents draws: a module for each kind, all with the interface in drawing.py."""
