"""What tests of several scenarios and folders share."""
