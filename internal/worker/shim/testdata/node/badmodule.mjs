export const handler = (event) => {
  return (1,
};
