from tls import *
