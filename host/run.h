/* `parapet run` and `parapet check`. */
#ifndef PARAPET_HOST_RUN_H
#define PARAPET_HOST_RUN_H

int run_command(int argc, char **argv);
int check_command(int argc, char **argv);

#endif
