import type { ReactNode } from "react";

interface IconProps {
  readonly children: ReactNode;
  readonly filled?: boolean;
}

function Icon({ children, filled = false }: IconProps) {
  return (
    <svg className={filled ? "tw-icon tw-icon-filled" : "tw-icon"} viewBox="0 0 16 16" aria-hidden="true">
      {children}
    </svg>
  );
}

export function SendIcon() {
  return (
    <Icon>
      <path d="M8 13V3.4M3.8 7.4 8 3.2l4.2 4.2" />
    </Icon>
  );
}

export function StopIcon() {
  return (
    <Icon filled>
      <rect x="3.5" y="3.5" width="9" height="9" rx="2" />
    </Icon>
  );
}

export function AlertIcon() {
  return (
    <Icon>
      <circle cx="8" cy="8" r="6.2" />
      <path d="M8 4.8v3.8M8 11.1v.1" />
    </Icon>
  );
}

export function CheckIcon() {
  return (
    <Icon>
      <path d="m3.4 8.6 3 3 6.2-7" />
    </Icon>
  );
}
