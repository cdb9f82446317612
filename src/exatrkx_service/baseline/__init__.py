"""Track finding without networks, to compare with: the CKF of ACTS."""
