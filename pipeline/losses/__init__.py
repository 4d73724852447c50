"""What training minimises: YOLOX's detection loss and FineTrack's Re-ID loss. They take tensors, not models."""
