#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loader.h"

static void fail(const char *what, int pid) {
  fprintf(stderr, "loader: process %d: %s\n", pid, what);
  exit(1);
}

bool process_parse(Process *process, char *text) {
  char *pids = strchr(text, '='), *word;
  if (!pids) return false;
  *pids++ = 0;
  process->name = text;
  for (process->count = 0; (word = strsep(&pids, ",")) && process->count < MAX_PIDS;)
    if ((process->pids[process->count++] = atoi(word)) <= 0) return false;
  return !word;
}

/* The sum of `utime` and `stime` of /proc/PID/stat, of all threads, in nanoseconds instead of 10 ms steps.
   Source: clock_getcpuclockid(3). */
static double pid_cpu_s(int pid) {
  clockid_t clock;
  struct timespec time;
  if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time)) fail("it has ended", pid);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double process_cpu_s(const Process *process) {
  double sum = 0;
  for (int index = 0; index < process->count; index++) sum += pid_cpu_s(process->pids[index]);
  return sum;
}

static long pid_rss_kib(int pid) {
  char name[64], line[256];
  long kib = -1;
  snprintf(name, sizeof name, "/proc/%d/status", pid);
  FILE *file = fopen(name, "r");
  if (!file) fail("it has ended", pid);
  while (kib < 0 && fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kib);
  fclose(file);
  if (kib < 0) fail("it has ended", pid); /* what is left of it until its parent asks has no memory */
  return kib;
}

long process_rss_kib(const Process *process) {
  long sum = 0;
  for (int index = 0; index < process->count; index++) sum += pid_rss_kib(process->pids[index]);
  return sum;
}

void machine_cpu_s(double *busy_s, double *total_s) {
  double ticks[8] = {0}, all = 0;
  FILE *file = fopen("/proc/stat", "r");
  if (!file || fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", ticks, ticks + 1, ticks + 2, ticks + 3, ticks + 4,
                      ticks + 5, ticks + 6, ticks + 7) != 8) {
    perror("/proc/stat");
    exit(1);
  }
  fclose(file);
  for (int index = 0; index < 8; index++) all += ticks[index];
  double per_s = (double)sysconf(_SC_CLK_TCK);
  *total_s = all / per_s;
  *busy_s = (all - ticks[3] - ticks[4]) / per_s;
}
