//! Asks an agent, or follows a run, straight at the core.

mod failure;
mod position;
mod reader;
mod security;

/// The contract.
mod pb {
    tonic::include_proto!("tokenwire.v1");
}

use std::{
    collections::HashMap,
    env,
    error::Error,
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use pb::{event::Payload, Event, RunSpec};
use position::{Outcome, Place};
use reader::{Cores, RunReader};
use tokio::sync::watch;
use tonic::{Code, Status};

const USAGE: &str = "\
Usage: rust-client [options] MESSAGE
       rust-client [options] --run RUN_ID [--after ID]

  --core HOST:PORT,...  the core, or several that share a store (TOKENWIRE_CORE) [127.0.0.1:50051]
  --agent NAME          the agent [the core's default]
  --session ID          the conversation
  --deadline SECONDS    the call's deadline, which is the run's too
  --patience SECONDS    how long to go on trying without contact to a core [10]
  --run RUN_ID          follow a run instead of starting one
  --after ID            ... after this event: RUN_ID.EPOCH.SEQUENCE
  --tls-ca FILE         trusted authorities: turns TLS on
  --tls-cert FILE       our certificate, where the core wants one (mTLS)
  --tls-key FILE        ... and its key
  --principal NAME      the principal to call as, signed with TOKENWIRE_PRINCIPAL_KEY

Ctrl-C stops the run; a second one leaves at once.

Exit status: 0 done, 1 the run failed or was refused, 2 wrong usage, 3 no core, 4 the stream was lost, 130 stopped.";

const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE_ERROR: u8 = 2;
const UNREACHABLE: u8 = 3;
const LOST: u8 = 4;
const STOPPED: u8 = 130;

type Given = HashMap<String, String>;

#[tokio::main]
async fn main() -> ExitCode {
    let prepared = parse(env::args().skip(1)).and_then(|given| Ok((cores(&given)?, given)));
    let status = match prepared {
        Ok((cores, given)) => ask(&cores, &given).await,
        Err(error) => Err(error),
    };
    status.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::from(USAGE_ERROR)
        },
        ExitCode::from,
    )
}

/// Reads a run to its end, and returns the exit status.
async fn ask(cores: &Cores, given: &Given) -> Result<u8, Box<dyn Error>> {
    let deadline = seconds(given.get("deadline"))?.map(|seconds| Instant::now() + seconds);
    let show = &mut show;
    let mut run = match given.get("run") {
        Some(id) => RunReader::follow(cores, id.clone(), place(given.get("after"))?, deadline, show),
        None => RunReader::start(cores, spec(given), deadline, show),
    };
    let known = run.known();
    let ended = {
        let mut reading = std::pin::pin!(run.read());
        tokio::select! {
            ended = &mut reading => ended,
            _ = tokio::signal::ctrl_c() => {
                tokio::select! {
                    _ = reading => {} // to the end of the run
                    status = refused_stop(cores, known) => {
                        eprintln!("the run could not be stopped: {}", failure::describe(&status));
                    }
                    _ = tokio::signal::ctrl_c() => {}
                }
                return Ok(STOPPED);
            }
        }
    };
    Ok(conclude(&run, ended))
}

/// Stops the run. Returns only if that failed.
async fn refused_stop(cores: &Cores, known: watch::Receiver<String>) -> Status {
    match cores.stop(known).await {
        Err(status) => status,
        Ok(()) => std::future::pending().await,
    }
}

/// Prints an event: the answer to stdout, the rest to stderr. Unknown payloads are skipped.
fn show(event: &Event) {
    match &event.payload {
        Some(Payload::TextDelta(delta)) => {
            print!("{}", delta.content);
            let _ = std::io::stdout().flush(); // a reader that has left ends us with the next print
        }
        Some(Payload::RunStarted(started)) => eprintln!("run {}", started.run_id),
        Some(Payload::Progress(progress)) => {
            eprintln!("[{}%] {}", progress.percent.unwrap_or_default(), progress.message);
        }
        Some(Payload::ToolStart(tool)) => eprintln!("-> {} {}", tool.tool, tool.args_json),
        Some(Payload::Error(error)) => eprintln!("{}: {}", error.code, error.message),
        Some(Payload::Done(_)) => println!(),
        _ => {}
    }
}

/// Prints an error, if there was one, and returns the exit status.
fn conclude(run: &RunReader, ended: Result<Outcome, Status>) -> u8 {
    let status = match ended {
        Ok(Outcome::Done) => return DONE,
        Ok(Outcome::Error) => return FAILED,
        Err(status) => status,
    };
    eprintln!("{}", failure::describe(&status));
    if failure::is_refusal(&status) || status.code() == Code::DeadlineExceeded {
        return FAILED;
    }
    if let Some((epoch, sequence)) = run.at.shown {
        let id = &run.at.run_id;
        eprintln!("go on with: --run {id} --after {id}.{epoch}.{sequence}");
        return LOST;
    }
    if failure::is_final(&status) {
        FAILED
    } else {
        UNREACHABLE // the transport failed, or the core asks to be asked later
    }
}

fn spec(given: &Given) -> RunSpec {
    let word = |name: &str| given.get(name).cloned().unwrap_or_default();
    RunSpec {
        message: word("message"),
        agent: word("agent"),
        session_id: word("session"),
        ..RunSpec::default()
    }
}

fn cores(given: &Given) -> Result<Cores, Box<dyn Error>> {
    let tls = security::tls(given.get("tls-ca"), given.get("tls-cert"), given.get("tls-key"))?;
    let named = given.get("core").cloned().or_else(|| env::var("TOKENWIRE_CORE").ok());
    let addresses = named.unwrap_or_else(|| "127.0.0.1:50051".into());
    let endpoints: Result<Vec<_>, _> =
        addresses.split(',').map(|core| security::endpoint(core.trim(), tls.as_ref())).collect();
    let name = given.get("principal").cloned().unwrap_or_default();
    let key = env::var("TOKENWIRE_PRINCIPAL_KEY").unwrap_or_default().into_bytes();
    if !name.is_empty() && key.is_empty() {
        return Err("--principal needs TOKENWIRE_PRINCIPAL_KEY".into());
    }
    let patience = seconds(given.get("patience"))?.unwrap_or(Duration::from_secs(10));
    Ok(Cores::new(endpoints?, security::Principal { name, key }, patience))
}

/// Returns options by their names, and the message.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Given, Box<dyn Error>> {
    let mut given = Given::new();
    while let Some(word) = words.next() {
        let (name, value) = match word.strip_prefix("--") {
            Some(name) if USAGE.contains(&format!("  {word} ")) => {
                (name.to_owned(), words.next().ok_or(USAGE)?)
            }
            Some(_) => return Err(USAGE.into()),
            None => ("message".to_owned(), word),
        };
        if given.insert(name.clone(), value).is_some() && name == "message" {
            return Err(USAGE.into());
        }
    }
    if given.contains_key("message") == given.contains_key("run") {
        return Err(USAGE.into());
    }
    Ok(given)
}

fn seconds(text: Option<&String>) -> Result<Option<Duration>, Box<dyn Error>> {
    text.map(|text| Ok(Duration::try_from_secs_f64(text.parse()?)?)).transpose()
}

/// Returns the place that an event's id, RUN_ID.EPOCH.SEQUENCE, or its last two parts name.
fn place(text: Option<&String>) -> Result<Option<Place>, Box<dyn Error>> {
    let Some(text) = text else { return Ok(None) };
    let mut parts = text.rsplit('.');
    let (Some(sequence), Some(epoch)) = (parts.next(), parts.next()) else {
        return Err("--after names no event".into());
    };
    Ok(Some((epoch.parse()?, sequence.parse()?)))
}
