/* The load generator of the benchmarks: one thread that opens streams of server-sent events and checks them. */
#ifndef LOADER_H
#define LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- samples.c: values whose quantiles are asked for */

typedef struct {
  float *values;
  size_t count, room;
} Samples;

void samples_add(Samples *samples, double value);
/* Sorts the samples. Returns the value at a share (0 to 1) of them; -1 if there are none. */
double samples_quantile(Samples *samples, double share);

/* ---- events.c: frames of one stream, and what is wrong with their order */

enum { LINE_BYTES = 512 };

typedef struct {
  uint64_t gaps;     /* a sequence came that is not the next one */
  uint64_t doubles;  /* a sequence came again */
  uint64_t wrong;    /* a token's text is not its number, or something came after the terminal event */
  uint64_t cut;      /* a response ended without a terminal event, or was not over in time */
  uint64_t refused;  /* the status was not 200, or the connection failed */
  uint64_t errors;   /* the terminal event was an error */
  uint64_t ended;    /* the terminal event was `done` */
} Faults;

typedef struct {
  uint64_t sequence;   /* of the last event; 0 before the first */
  uint64_t id;         /* of the frame that has begun; 0 if it has no id */
  char data[LINE_BYTES]; /* of that frame; empty if it has none yet */
  bool terminal;       /* whether the terminal event has come */
  uint32_t tokens;     /* of the last event's frame; 0 if it held none */
  double timestamp_ms; /* when that event was created, wall clock */
} Events;

/* Takes one line of a stream, without its end. Returns true if it completed an event's frame. */
bool events_line(Events *events, const char *line, Faults *faults);

/* ---- http.c: the response of one request, piece by piece */

typedef enum { HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, PLAIN_BODY, BODY_END } HttpState;

typedef struct {
  HttpState state;
  int status;        /* 0 until the status line has come */
  bool chunked;
  uint64_t left;     /* bytes of the present chunk that are still to come */
  /* A line of the head or of the chunks' framing, and one of the body: a chunk may end within the latter. */
  size_t line_bytes, body_line_bytes;
  char line[LINE_BYTES], body_line[LINE_BYTES];
} Http;

/* Called with each line of the body, without its end. */
typedef void (*LineSink)(void *context, const char *line);

void http_feed(Http *http, const char *data, size_t bytes, LineSink sink, void *context);

/* ---- processes.c: what processes use, and the machine with all of them */

enum { MAX_PROCESSES = 8, MAX_PIDS = 16 };

typedef struct {
  char *name;
  int pids[MAX_PIDS];
  int count;
  double cpu_s;          /* at the beginning of the window */
  long rss_kib_before;   /* before the first stream was opened */
} Process;

/* Reads NAME=PID,PID… into a process. Returns false if it is something else. */
bool process_parse(Process *process, char *text);
/* CPU time of all threads, of all its pids, in seconds. Exits if one of them is gone. */
double process_cpu_s(const Process *process);
long process_rss_kib(const Process *process);
/* CPU time of the whole machine: busy, and with the idle time. */
void machine_cpu_s(double *busy_s, double *total_s);

#endif
