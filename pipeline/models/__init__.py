"""The networks: YOLOX, FAFPN, MPMG and the Re-ID head. They take tensors and never see a target."""
