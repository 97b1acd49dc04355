"""The region of interest: where on an ultrasound machine's screen its picture is. Nothing outside it goes on."""
