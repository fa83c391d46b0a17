//! HTTP service behind candor serve.
