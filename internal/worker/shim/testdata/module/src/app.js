export function handler(event) {
  return 'src ' + event;
}
