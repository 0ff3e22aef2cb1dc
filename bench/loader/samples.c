#include <stdio.h>
#include <stdlib.h>

#include "loader.h"

void samples_add(Samples *samples, double value) {
  if (samples->count == samples->room) {
    samples->room = samples->room ? samples->room * 2 : 4096;
    samples->values = realloc(samples->values, samples->room * sizeof *samples->values);
    if (!samples->values) {
      perror("realloc");
      exit(1);
    }
  }
  samples->values[samples->count++] = (float)value;
}

static int compare(const void *left, const void *right) {
  float a = *(const float *)left, b = *(const float *)right;
  return (a > b) - (a < b);
}

double samples_quantile(Samples *samples, double share) {
  if (!samples->count) return -1;
  qsort(samples->values, samples->count, sizeof *samples->values, compare);
  size_t index = (size_t)((double)samples->count * share);
  return samples->values[index < samples->count ? index : samples->count - 1];
}
