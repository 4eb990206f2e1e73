"""What clusters are made of: the values of payload columns in each of them, beside those of all."""
