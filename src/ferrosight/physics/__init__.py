"""Physics of labelled clusters: arrays in, arrays out; nothing here knows a scan or a file of images."""
