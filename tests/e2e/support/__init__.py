"""What end-to-end tests are made of: the command as a process, upstreams and clients that control every byte."""
