"""What is needed everywhere and is no mathematics: errors, files, seeds, devices, memory."""
