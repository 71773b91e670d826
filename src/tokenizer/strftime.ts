const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAY_MS = 86_400_000;

/**
 * Formats local time by C's `strftime` directives, with English names in every locale: prompts must
 * not depend on the server's settings. A directive that is not known stays as it is.
 */
export function strftime(format: string, date: Date): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (directive, minus: string, letter: string) => {
    const text = expand(letter, date);
    if (text === undefined) return directive;
    // "%-d" is the number without the zeros or spaces before it.
    return minus === "" ? text : text.replace(/^[0 ]+(?=\d)/, "");
  });
}

function expand(letter: string, date: Date): string | undefined {
  switch (letter) {
    case "Y":
      return String(date.getFullYear());
    case "y":
      return pad(date.getFullYear() % 100, 2);
    case "m":
      return pad(date.getMonth() + 1, 2);
    case "B":
      return MONTHS[date.getMonth()]!;
    case "b":
      return MONTHS[date.getMonth()]!.slice(0, 3);
    case "d":
      return pad(date.getDate(), 2);
    case "e":
      return String(date.getDate()).padStart(2, " ");
    case "j":
      return pad(dayOfYear(date), 3);
    case "A":
      return DAYS[date.getDay()]!;
    case "a":
      return DAYS[date.getDay()]!.slice(0, 3);
    case "H":
      return pad(date.getHours(), 2);
    case "I":
      return pad((date.getHours() + 11) % 12 + 1, 2);
    case "p":
      return date.getHours() < 12 ? "AM" : "PM";
    case "M":
      return pad(date.getMinutes(), 2);
    case "S":
      return pad(date.getSeconds(), 2);
    case "%":
      return "%";
    default:
      return undefined;
  }
}

/** From 1. Counted in UTC, where every day has the same length. */
function dayOfYear(date: Date): number {
  const year = date.getFullYear();
  const start = Date.UTC(year, 0, 1);
  return (Date.UTC(year, date.getMonth(), date.getDate()) - start) / DAY_MS + 1;
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, "0");
}
