"""Where frames and boxes come from: the synthetic world, readers, half split, augmentation, samplers."""
