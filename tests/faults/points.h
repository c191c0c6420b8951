#ifndef CM_TESTS_FAULTS_POINTS_H
#define CM_TESTS_FAULTS_POINTS_H

#include <stddef.h>

/* points.h - every CM_POINT of the program, in the order in which a run passes them
 * for the first time. check_points.sh compares; `certmill-faulty --points` prints. */
static const char *const cm_points[] = {
    NULL,
};

#endif
