"""The plain layout: any instrument's velocity maps as FITS or NPZ."""
