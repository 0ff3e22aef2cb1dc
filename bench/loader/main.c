/* Opens streams at a server on loopback, checks each, and prints one line of JSON with what it has measured.

   loader --port PORT --streams N --body JSON [--path P] [--process NAME=PID,PID…]…
     --open S      open them evenly within S seconds
     --warm S      then wait until each has its first event, and S seconds more
     --window S    then count tokens for S seconds, and leave
     --until-end   instead: read each stream to its end
     --visits N    instead: N streams in all, `--streams` at a time, each left at its first token
     --stuck N --stuck-body JSON   the first N ask for this, and never read
     --leave S | --stop S          after the window, leave or stop streams evenly within S seconds; prints when
   In JSON bodies, @n is the number of the stream. Times of leaving are CLOCK_MONOTONIC in ns. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "crowd.h"

/* A server that answers no more ends a measurement instead of holding it up. */
enum { BEGUN_WITHIN_S = 30, ALL_WITHIN_S = 60, VISITS_A_S = 50 };

typedef struct {
  int streams, visits;
  double open_s, warm_s, window_s, leave_s, stop_s;
  bool until_end;
  Process processes[MAX_PROCESSES];
  int process_count;
} Options;

typedef struct {
  double began_s, busy_s, total_s, own_s;
} Mark;

static double own_cpu_s(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void usage(const char *why) {
  fprintf(stderr, "loader: %s (see the head of main.c)\n", why);
  exit(2);
}

static void parse(int count, char **words, Options *options, Plan *plan) {
  static const struct option names[] = {
      {"port", 1, 0, 'p'},   {"streams", 1, 0, 'n'},    {"body", 1, 0, 'b'},   {"path", 1, 0, 'u'},
      {"process", 1, 0, 'P'}, {"open", 1, 0, 'o'},      {"warm", 1, 0, 'w'},   {"window", 1, 0, 'W'},
      {"until-end", 0, 0, 'e'}, {"visits", 1, 0, 'v'},  {"stuck", 1, 0, 's'},  {"stuck-body", 1, 0, 'B'},
      {"leave", 1, 0, 'l'},  {"stop", 1, 0, 'S'},       {0, 0, 0, 0}};
  for (int name; (name = getopt_long(count, words, "", names, NULL)) != -1;) {
    switch (name) {
      case 'p': plan->port = atoi(optarg); break;
      case 'n': options->streams = atoi(optarg); break;
      case 'b': plan->body = optarg; break;
      case 'u': plan->path = optarg; break;
      case 'o': options->open_s = atof(optarg); break;
      case 'w': options->warm_s = atof(optarg); break;
      case 'W': options->window_s = atof(optarg); break;
      case 'e': options->until_end = true; break;
      case 'v': options->visits = atoi(optarg); break;
      case 's': plan->stuck = atoi(optarg); break;
      case 'B': plan->stuck_body = optarg; break;
      case 'l': options->leave_s = atof(optarg); break;
      case 'S': options->stop_s = atof(optarg); break;
      case 'P':
        if (options->process_count == MAX_PROCESSES) usage("too many processes");
        if (!process_parse(&options->processes[options->process_count++], optarg)) usage("--process NAME=PID,PID");
        break;
      default: usage("unknown option");
    }
  }
  if (!plan->port || options->streams <= 0 || !plan->body) usage("--port, --streams and --body are required");
  if (plan->stuck && !plan->stuck_body) usage("--stuck needs --stuck-body");
}

static bool all_have_begun(const Crowd *crowd) { return !crowd->not_begun; }
static bool nobody_left(const Crowd *crowd) { return !crowd->open; }

static Mark begin(Crowd *crowd, Options *options) {
  Mark mark;
  machine_cpu_s(&mark.busy_s, &mark.total_s);
  mark.own_s = own_cpu_s();
  for (int index = 0; index < options->process_count; index++)
    options->processes[index].cpu_s = process_cpu_s(&options->processes[index]);
  crowd->counts = true;
  mark.began_s = monotonic_s();
  return mark;
}

static void open_all(Crowd *crowd, const Options *options) {
  double start_s = monotonic_s();
  for (int slot = 0; slot < options->streams; slot++) {
    crowd_serve(crowd, start_s + options->open_s * slot / options->streams, NULL);
    crowd_open(crowd, slot);
  }
}

/* Leaves or stops each stream in its turn; prints the moments as "NAME": [[number, ns], …]. */
static void end_evenly(Crowd *crowd, const char *name, double within_s, void (*end)(Crowd *, int)) {
  double start_s = monotonic_s();
  const char *separator = "";
  printf(", \"%s\": [", name);
  for (int slot = 0; slot < crowd->room; slot++) {
    crowd_serve(crowd, start_s + within_s * slot / crowd->room, NULL);
    if (crowd->streams[slot].presence != READING) continue;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    end(crowd, slot);
    printf("%s[%d, %lld]", separator, crowd->streams[slot].number, now.tv_sec * 1000000000LL + now.tv_nsec);
    separator = ", ";
  }
  printf("]");
}

static void print_quantiles(const char *name, Samples *samples) {
  printf(", \"%s\": {\"count\": %zu, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name, samples->count,
         samples_quantile(samples, .5), samples_quantile(samples, .9), samples_quantile(samples, .99),
         samples_quantile(samples, 1));
}

static void print_processes(const Options *options, const double *cpu_s) {
  printf(", \"processes\": {");
  for (int index = 0; index < options->process_count; index++) {
    const Process *process = &options->processes[index];
    printf("%s\"%s\": {\"cpu_s\": %.6f, \"rss_kib_before\": %ld, \"rss_kib\": %ld}", index ? ", " : "", process->name,
           cpu_s[index], process->rss_kib_before, process_rss_kib(process));
  }
  printf("}");
}

static void report(Crowd *crowd, const Options *options, const Mark *mark, int open) {
  double took_s = monotonic_s() - mark->began_s, own_s = own_cpu_s() - mark->own_s, all_s = own_s, busy_s, total_s;
  double cpu_s[MAX_PROCESSES];
  for (int index = 0; index < options->process_count; index++) {
    cpu_s[index] = process_cpu_s(&options->processes[index]) - options->processes[index].cpu_s;
    all_s += cpu_s[index];
  }
  machine_cpu_s(&busy_s, &total_s);
  const Faults *faults = &crowd->faults;
  printf("{\"streams\": %d, \"open\": %d, \"seconds\": %.4f, \"tokens\": %lu, \"frames\": %lu, \"bytes\": %lu, \"reads\": %lu",
         crowd->opened, open, took_s, crowd->tokens, crowd->frames, crowd->bytes, crowd->reads);
  printf(", \"gaps\": %lu, \"doubles\": %lu, \"wrong\": %lu, \"cut\": %lu, \"refused\": %lu, \"errors\": %lu, \"ended\": %lu",
         faults->gaps, faults->doubles, faults->wrong, faults->cut, faults->refused, faults->errors, faults->ended);
  print_quantiles("latency_ms", &crowd->latency_ms);
  print_quantiles("first_token_ms", &crowd->first_token_ms);
  print_processes(options, cpu_s);
  printf(", \"loader_cpu_s\": %.6f, \"machine_busy\": %.3f, \"others_cpus\": %.3f", own_s,
         total_s > mark->total_s ? (busy_s - mark->busy_s) / (total_s - mark->total_s) : 0, (busy_s - mark->busy_s - all_s) / took_s);
}

int main(int count, char **words) {
  Options options = {0};
  Crowd crowd = {.plan = {.path = "/api/chat"}};
  parse(count, words, &options, &crowd.plan);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  for (int index = 0; index < options.process_count; index++)
    options.processes[index].rss_kib_before = process_rss_kib(&options.processes[index]);
  crowd_start(&crowd, options.streams);
  crowd.plan.leaves_at_first_token = options.visits > 0;
  crowd.to_open = options.visits > options.streams ? options.visits - options.streams : 0;

  Mark mark = {0};
  bool counts_all = options.visits || options.until_end;
  if (counts_all) mark = begin(&crowd, &options);
  open_all(&crowd, &options);
  if (counts_all) {
    crowd_serve(&crowd, monotonic_s() + ALL_WITHIN_S + options.visits / VISITS_A_S, nobody_left);
    crowd.faults.cut += (uint64_t)(crowd.open + crowd.to_open);
  } else {
    crowd_serve(&crowd, monotonic_s() + BEGUN_WITHIN_S, all_have_begun);
    crowd_serve(&crowd, monotonic_s() + options.warm_s, NULL);
    mark = begin(&crowd, &options);
    crowd_serve(&crowd, mark.began_s + options.window_s, NULL);
  }
  report(&crowd, &options, &mark, crowd.open);
  crowd.counts = false;
  if (options.leave_s) end_evenly(&crowd, "left", options.leave_s, crowd_leave);
  if (options.stop_s) end_evenly(&crowd, "stopped", options.stop_s, crowd_stop);
  if (options.stop_s) crowd_serve(&crowd, monotonic_s() + 1, nobody_left);
  puts("}");
  return 0;
}
