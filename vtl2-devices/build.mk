devices_LIB :=
