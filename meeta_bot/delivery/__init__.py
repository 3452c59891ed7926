"""The way from the spool to the sinks: writers, the protocol of a sink, and the sinks that there are."""
