"""Speed, memory and quality beside the peers, in one run, as ratios: machines are noisy, and only what ran together compares."""
