import {
  AssistantRuntimeProvider,
  AuiIf,
  ComposerPrimitive,
  ErrorPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  type ToolCallMessagePartProps,
} from "@assistant-ui/react";
import { Markdown, type UseAgentStreamOptions } from "@tokenwire/react";
import { useTokenwireRuntime } from "./use-tokenwire-runtime.ts";

/** A thread made of assistant-ui's primitives. `npx assistant-ui add thread` puts their styled one in its place. */
export function Chat(options: UseAgentStreamOptions) {
  return (
    <AssistantRuntimeProvider runtime={useTokenwireRuntime(options)}>
      <ThreadPrimitive.Root className="thread">
        <ThreadPrimitive.Viewport className="messages" data-testid="messages">
          <ThreadPrimitive.Empty>
            <p className="hint">Ask the agent something.</p>
          </ThreadPrimitive.Empty>
          <ThreadPrimitive.Messages components={{ UserMessage, AssistantMessage }} />
        </ThreadPrimitive.Viewport>
        <ComposerPrimitive.Root className="composer">
          <ComposerPrimitive.Input placeholder="Message" aria-label="Message" autoFocus rows={1} />
          <AuiIf condition={({ thread }) => !thread.isRunning}>
            <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
          </AuiIf>
          <AuiIf condition={({ thread }) => thread.isRunning}>
            <ComposerPrimitive.Cancel>Stop</ComposerPrimitive.Cancel>
          </AuiIf>
        </ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

function UserMessage() {
  return (
    <MessagePrimitive.Root className="user">
      <MessagePrimitive.Parts />
    </MessagePrimitive.Root>
  );
}

function AssistantMessage() {
  return (
    <MessagePrimitive.Root className="assistant" data-testid="answer">
      <MessagePrimitive.Parts components={{ Text: Answer, tools: { Fallback: Tool } }} />
      <MessagePrimitive.Error>
        <ErrorPrimitive.Root className="error">
          <ErrorPrimitive.Message />
        </ErrorPrimitive.Root>
      </MessagePrimitive.Error>
    </MessagePrimitive.Root>
  );
}

function Answer({ text, status }: { readonly text: string; readonly status: { readonly type: string } }) {
  return <Markdown text={text} live={status.type === "running"} />;
}

function Tool({ toolName, argsText, result, isError }: ToolCallMessagePartProps) {
  return (
    <details className="tool" data-testid="tool">
      <summary>
        {toolName} {result === undefined ? "…" : isError ? "failed" : "done"}
      </summary>
      <pre>{argsText}</pre>
      {result !== undefined && <pre>{JSON.stringify(result, null, 2)}</pre>}
    </details>
  );
}
